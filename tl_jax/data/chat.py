"""Conversations as the text that a model was tuned on, by its own template."""

from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, str]
"""`{"role": "system" | "user" | "assistant", "content": text}`."""


def chat_text(template: str, messages: Sequence[Message], *, ask: bool = False) -> str:
    """The text of messages by a template in Jinja, as transformers renders it.

    With `ask` it ends where the assistant is to go on. Templates run in a sandbox that
    reaches nothing. Raises ValueError for a template that fails or refuses.
    """
    try:
        from jinja2 import exceptions
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise ImportError(
            "chat templates need jinja2: pip install 'tl_jax[chat]'"
        ) from None

    def refuse(text: str) -> None:
        raise exceptions.TemplateError(text)

    made = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    made.globals["raise_exception"] = refuse
    values: dict[str, Any] = {"bos_token": "", "eos_token": ""}
    values |= {"messages": list(messages), "add_generation_prompt": ask}
    try:
        return made.from_string(template).render(**values)
    except exceptions.TemplateError as error:
        raise ValueError(f"the chat template fails: {error}") from None


def question_text(template: str | None, question: str, system: str = "") -> str:
    """What stands in front of an answer: a chat, or without a template a line."""
    if template is None:
        return f"{system}\n{question}\n".lstrip()
    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": question})
    return chat_text(template, messages, ask=True)
