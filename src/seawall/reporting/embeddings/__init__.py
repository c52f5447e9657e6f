"""The page of an embedding store: did the synthesis work, and if not, why not?"""
