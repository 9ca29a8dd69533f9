// Requests of OpenAI's video calls in the words of our endpoints: model, size, seconds and the reference become the
// endpoint's own fields, with the nearest values that it takes.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/serve/api/endpoints.h"
#include "engine/serve/api/validate.h"

namespace wan::serve {

/// Which call a request came by. Generations (of the load generator) has some fields more, and no interpolation unless
/// it is asked for.
enum class VideoDoor { Videos, Generations };

struct VideoRequest {
  Endpoint endpoint;                               // one of fal's; of Generations with `boundary`
  nlohmann::json body = nlohmann::json::object();  // its fields, and what is ignored
  std::string model;                               // as the client called it; else the task: "t2v"
  std::map<std::string, std::string> names = {};   // what the client called fields: image_url -> input_reference
  std::vector<std::string> notes = {};             // what became another value, for the job's log
};

/// `sent` is the body; of a form (`is_form`) its values are texts, and an empty one is none. The endpoint's own fields
/// stay and go before size, seconds and fps. What is wrong is added to `errors` by the client's names. Throws HttpError
/// 404 for a model that is none of ours.
VideoRequest video_request(nlohmann::json sent, VideoDoor door, bool is_form, ErrorList& errors);

/// The endpoint of fal for a task.
const Endpoint& video_endpoint(Task task);

/// A member of an object, which loses it; null where it is absent, or where `from` is no object.
nlohmann::json taken(nlohmann::json& from, const char* name);

}  // namespace wan::serve
