"""The stand-alone server's process: its ports and certificates, connections and files."""
