/* The paths of the HTTP interface: doc/serve.yaml. */
#ifndef CLI_SERVE_ROUTES_H
#define CLI_SERVE_ROUTES_H

#include "serve/http.h"

void route_request(desk *d, http_request *r); /* a http_route_fn */

#endif
