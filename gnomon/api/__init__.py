"""The Python interface of `import gnomon`."""
