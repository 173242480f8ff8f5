"""Downloads: the files of a card, fetched, verified, unpacked.

`items` says what a card's files are and where they go, `http` opens addresses, `drive` knows Google Drive's web
pages, `fetch` gets one file whole, `pins` keeps the hashes seen first, `archives` unpacks, `obtain` does all of it
for one card.

The standard library's HTTP is enough here. What is ours is what the libraries lack: pooch neither resumes nor
pins, gdown reads Google's pages only, and neither keeps apart why each mirror failed.
"""
