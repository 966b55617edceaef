"""Sentences in the Penn Treebank's tokens, turned back into how they are written.

What those tokens no longer tell stays as it is: a dash with blanks around it, `can not`.
"""

from __future__ import annotations

_WRITTEN = {
    "``": '"', "''": '"', "`": "'", "-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]",
    "-LCB-": "{", "-RCB-": "}", "\\/": "/", "\\*": "*",
}  # fmt: skip
_OPENING = {"``", "`", "-LRB-", "-LSB-", "-LCB-", "(", "[", "{", "$"}
_CLOSING = {"''", "'", "-RRB-", "-RSB-", "-RCB-", ")", "]", "}", ".", ",", ";", ":", "!", "?", "...", "%"}
_CLITICS = {"n't", "'s", "'m", "'d", "'ll", "'re", "'ve"}


def as_written(sentence: str) -> str:
    """Return a sentence of tokens one blank apart without the blanks and marks that tokenizing brought in.

    A `"` that does not say whether it opens or closes does both in turn.
    """
    text, open_quote, glued = "", False, True
    for token in sentence.split():
        closes = token in _CLOSING or token.lower() in _CLITICS or (token == '"' and open_quote)
        text += ("" if glued or closes else " ") + _WRITTEN.get(token, token)
        glued = token in _OPENING or (token == '"' and not open_quote)
        open_quote ^= token == '"'
    return text
