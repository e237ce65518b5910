"""Published layouts of data files, one file each: how a layout is recognized, read and written."""
