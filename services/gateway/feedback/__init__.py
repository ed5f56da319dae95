"""Feedback on its way in: `checking` says what is wrong with it, `door` takes it call by call, `stream` as long as it comes,
`files` reads it from CSV and JSON lines, `writing` makes events of it and commits them."""
