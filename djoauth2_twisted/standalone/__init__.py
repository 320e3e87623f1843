"""The stand-alone server's process: its ports, certificates, connections and files."""
