"""What is served over HTTP, and the client that the shell has for it.

app               the routes: health, readiness, metrics, the API's description, and those of
commands          calls about commands; arguments: what they are told, command_document: what they show
token_service     tokens for an application's key and secret; tokens: which of them hold
callers           who calls; logins, rates: how often, and how often in vain; once: which call was here before;
                  body: what is read of a call
envelope          what a call is answered with; waiting: for clients that hang up before it is
openapi, metrics  the documents themselves
listener          the sockets, with their bounds; bounds: how many connections, in all and from one address
client            a caller of our own
"""
