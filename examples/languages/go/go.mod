module tally

go 1.23
