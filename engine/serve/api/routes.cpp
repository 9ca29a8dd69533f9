// All routes of the APIs, in the order in which they are asked.
#include "engine/serve/api/context.h"

namespace wan::serve {

void add_api_routes(Router& router, ApiContext& context) {
  add_fal_routes(router, context);  // first: status is asked most
  add_wavespeed_routes(router, context);
  add_openai_routes(router, context);
  add_upload_routes(router, context);
  add_file_routes(router, context);
  add_proxy_routes(router, context);
  add_openapi_routes(router, context);
}

}  // namespace wan::serve
