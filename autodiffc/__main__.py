"""`python -m autodiffc` is `autodiffc`."""

from autodiffc.cli import main

if __name__ == "__main__":
    main()
