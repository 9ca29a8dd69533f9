// What is sent to a server: the body of a request, and before it the files that it names.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/request/params.h"
#include "tools/remote/server.h"

namespace wan::remote {

/// The body for the endpoint: of the fields that were `given`, those that the endpoint has, with the values that
/// `request` has. A drawn seed is left to the server. `uploaded` gives the URL for a file of an input; URLs are sent as
/// they are.
nlohmann::json body_of(const Request& request, const std::vector<std::string>& given,
                       const std::function<std::string(const char* field, const std::string& path)>& uploaded);

/// The id in the answer to a request that was taken. Throws Unsure where there is none that an id can be.
std::string submitted_id(const nlohmann::json& answer);

/// Uploads files, each once.
class Uploads {
 public:
  explicit Uploads(Server& server) : server_(server) {}

  /// The URL of the file at the server. Throws InvalidRequest naming `field` where it is no file with content or the
  /// server does not take it, Later where it wants to be asked later (429, 502, 503, 504), ServerFailure,
  /// std::runtime_error where it cannot be read.
  std::string url_of(const char* field, const std::string& path);

 private:
  Server& server_;
  std::map<std::string, std::string> urls_;  // by path
};

}  // namespace wan::remote
