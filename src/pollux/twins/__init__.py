"""Reference twins, one folder a domain. They import only the public face, `pollux`."""
