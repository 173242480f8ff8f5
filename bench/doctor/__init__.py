"""Doctor: what this machine has of what `bench` needs, and how to get the rest.

Nothing here imports torch, faiss or numpy in this process: it must answer where they are broken.
"""
