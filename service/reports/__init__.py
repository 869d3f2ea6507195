"""A record as a document that an inspector can file: one content, as HTML and as PDF."""

#: What a report can be had as.
HTML, PDF = "text/html", "application/pdf"
