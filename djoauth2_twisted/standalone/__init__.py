"""The process of the stand-alone server: its ports, certificates, connections and files."""
