"""Downloads: the files of a card, fetched, verified, unpacked.

`items` says what a card's files are and where they go, `http` opens addresses, `drive` knows Google Drive's web
pages, `fetch` gets one file whole, `pins` keeps the hashes seen first, `archives` unpacks, `obtain` does all of it
for one card.

The standard library's HTTP is enough here. Existing libraries lack the rest: pooch neither resumes nor pins, gdown
reads only Google's pages, and neither says why each mirror failed.
"""
