// The five endpoints of the hosted APIs: their paths, tasks and fields. Types, ranges and choices come from the table of
// parameters (engine/request/params.h).
#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request/params.h"

namespace wan::serve {

/// Whose words requests and answers use.
enum class Vendor { Fal, WaveSpeed };

/// A field of an endpoint's body.
struct EndpointField {
  enum class Kind { Text, Integer, Number, Boolean };

  std::string name;                      // in the body
  const Parameter* parameter = nullptr;  // what it is in the table; null: the server's own
  Kind kind = Kind::Text;
  bool required = false;
  bool nullable = false;           // null is as if it was absent
  nlohmann::json value = nullptr;  // the hosted default
  Range range = {};                // infinite where the endpoint has none
  std::vector<std::string> words = {};
  std::string media = {};  // "image", "video", "audio" where it names a file
  std::string help = {};

  bool has_least() const { return range.least > -std::numeric_limits<double>::infinity(); }
  bool has_most() const { return range.most < std::numeric_limits<double>::infinity(); }
};

struct Endpoint {
  std::string path;  // as jobs have it, without a slash in front: "fal-ai/wan/v2.2-a14b/text-to-video"
  Vendor vendor = Vendor::Fal;
  Task task = Task::T2V;
  std::string summary;
  std::vector<EndpointField> fields;  // in the vendor's order, which is that of errors
  bool tells_seed = false;            // its answer has prompt and seed beside the video

  /// Null for another name.
  const EndpointField* field(std::string_view name) const;
  /// The field that stands for a parameter; null where none does.
  const EndpointField* field_of(std::string_view parameter) const;
};

const std::vector<Endpoint>& endpoints();
/// By its path, in letters of either case; null for another.
const Endpoint* find_endpoint(std::string_view path);

/// The first two segments of all fal endpoints' paths, which the queue's URLs have.
inline constexpr const char* kFalApp = "fal-ai/wan";
/// Where a request names its webhook: in the query, of WaveSpeed also in the body.
inline constexpr const char *kFalWebhook = "fal_webhook", *kWaveSpeedWebhook = "webhook",
                            *kWaveSpeedWebhookField = "webhook_url";
/// The longest sound that WaveSpeed takes, in seconds.
inline constexpr double kWaveSpeedSeconds = 120;

}  // namespace wan::serve
