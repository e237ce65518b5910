"""`python -m gnomon` and the command `gnomon`: a stop is heard before anything else is imported."""

from gnomon.core.stopping import ending_in_order


def main() -> None:
    """Run the command line."""
    with ending_in_order():
        from gnomon.cli.main import main as run

        run()


if __name__ == "__main__":
    main()
