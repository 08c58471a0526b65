"""A chain that is short to write and, read carelessly, endless to follow."""

names = {}


def chain():
    return names.get("a").get("a").get("a").get("a").get("a").get("a").get("a").get("a")


word = "a" if names else "b"
text = f"{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}{word}"
