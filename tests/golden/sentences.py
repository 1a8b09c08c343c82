"""The texts of the recorded MiniLM, apart from what needs torch to record it."""

SENTENCES = (
    "A pretrained model knows more than its task.",
    "Freeze the body, train the head!",
    "Nein.",
    "The film was dull, but its music, oddly enough, moved me to tears.",
)
