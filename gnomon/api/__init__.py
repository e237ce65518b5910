"""The Python interface: what `import gnomon` offers."""
