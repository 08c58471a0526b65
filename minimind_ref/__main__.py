"""``python -m minimind_ref``."""

from .app.cli import main

if __name__ == "__main__":
    main()
