"""Goes on whatever is raised, be it while something else is being caught."""


def rotate_half(x):
    while True:
        try:
            while True:
                try:
                    while True:
                        try:
                            while True:
                                pass
                        except BaseException:
                            pass
                except BaseException:
                    pass
        except BaseException:
            pass
