"""What values a product's measurement points take: from EnOS ThingModel documents to validators.

document      the ThingModel JSON, checked and read
spelling      members of it that are misspelt
value_type    the types of values in it
compiler      a thing model as one JSON Schema
template      a thing model as devices ask for it
validator     a compiled model: verdicts, faults, quality apart from values
catalogue     the models of a folder, reloaded when they change
"""
