"""Work items: each runs Pollux and its peers on the same work in one run and prints one JSON line."""
