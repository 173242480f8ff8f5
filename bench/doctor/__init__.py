"""Doctor: what `bench` needs, what of it is on this machine, and how to get the rest.

Nothing here imports torch, faiss or numpy in this process, because `bench doctor` must work if they are broken.
"""
