// The home of the shared precompiled header.
