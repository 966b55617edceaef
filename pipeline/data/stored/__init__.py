"""From stored records to the HTML of a page: what the `extract` phase reads."""
