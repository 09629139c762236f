"""The embedded data set: three parts drawn by program and seed, so that nothing needs a download.

`canvas` draws shapes, `texture` makes noise, `flaw` holds the defects that every part can have; `gear`,
`weave` and `board` paint one part each; `camera` takes the picture; `render` puts them together and
derives the mask; `dataset` is the adapter.
"""
