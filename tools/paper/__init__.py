"""The paper editions of the book: PDFs of each page and of the whole, and an EPUB.

Both are made of the rendered site, in the browser that the tests use: what is on paper is what is
on the page, its numbers, its formulas and its links.
"""
