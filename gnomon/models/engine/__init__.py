"""How networks compute: layouts, caches, packed weights, devices."""
