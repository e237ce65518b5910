"""Items, who judges them next, and when they are done."""
