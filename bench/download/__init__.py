"""Downloads: the files of a card, fetched, verified, unpacked.

`items` says what a card's files are and where they go, `network` how patient to be, `http` opens addresses over the
bounded `connections`, `answers` judges what comes, `drive` knows Google Drive's web pages, `part_files` keeps what has
arrived, `fetch` gets one file whole, `soundness` looks into it before `bench.cards.pins` keeps its hash, and `obtain`
does all of it for one card.

The standard library's HTTP is enough here. Existing libraries lack the rest: pooch neither resumes nor pins, gdown
reads only Google's pages, and neither says why each mirror failed.
"""
