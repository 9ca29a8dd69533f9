// The path that the JavaScript client of fal sends everything to when it is told of a proxy: the header x-fal-target-url has
// the hosted URL. It is answered here, by the route of the same name, whatever the method; nothing is fetched.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace wan::serve {

/// Where the call of a hosted URL goes on this server, with its query: "https://queue.fal.run/fal-ai/x?logs=1" to
/// "/queue/fal-ai/x?logs=1". Nothing for other hosts, and for paths that those hosts do not have.
std::optional<std::string> local_target(std::string_view hosted_url);

}  // namespace wan::serve
