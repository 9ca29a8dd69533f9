#include "tools/serve/user_lines.h"

#include "engine/base/text.h"
#include "tools/cli/console.h"

namespace wan {
namespace {

/// The text of a member, whatever it is; empty where it is absent.
std::string word(const Log::Fields& fields, const char* name) {
  const auto found = fields.find(name);
  if (found == fields.end()) return "";
  return found->is_string() ? found->get<std::string>()
                            : found->dump(-1, ' ', false, Log::Fields::error_handler_t::replace);
}

std::string in_seconds(const Log::Fields& fields) {
  const auto found = fields.find("seconds");
  return found != fields.end() && found->is_number() ? " in " + duration(found->get<double>()) : "";
}

}  // namespace

std::optional<UserLine> user_line(std::string_view event, const Log::Fields& fields) {
  if (event == "load") return UserLine{"INFO", "loaded the " + word(fields, "network") + in_seconds(fields)};
  if (event == "job")
    return UserLine{"INFO", word(fields, "width") + "x" + word(fields, "height") + ", " + word(fields, "frames") +
                                " frames, seed " + word(fields, "seed") + ", on " + word(fields, "device") + " in " +
                                word(fields, "dtype")};
  if (event == "resume") return UserLine{"INFO", word(fields, "text")};
  if (event == "warning") return UserLine{"WARN", word(fields, "text")};
  if (event == "vae") return UserLine{"INFO", "the VAE goes on in float32: " + word(fields, "reason")};
  if (event == "lora" && fields.contains("files"))
    return UserLine{"INFO", "put LoRAs on the " + word(fields, "network") + in_seconds(fields)};
  if (event == "interpolation")
    return UserLine{"INFO", "drew " + word(fields, "between") + " between each two frames by " + word(fields, "model") +
                                ": " + word(fields, "pairs") + " pairs, " + word(fields, "still") + " of them still, " +
                                word(fields, "cuts") + " cut"};
  if (event == "expansion" && fields.contains("text"))
    return UserLine{"INFO", "the prompt was expanded" + in_seconds(fields) + ": " + word(fields, "text")};
  if (event == "safety")
    return UserLine{
        fields.value("flagged", false) ? "WARN" : "INFO",
        std::string("safety check: ") + (fields.value("flagged", false) ? "flagged" : "nothing is flagged")};
  if (event == "note") {
    const std::string change = word(fields, "change");
    return UserLine{
        "WARN", "[" + word(fields, "subject") + "] " + word(fields, "text") + (change.empty() ? "" : "; " + change)};
  }
  // Its ways out name flags of the operator's.
  if (event == "quality") return UserLine{"WARN", "quality: " + word(fields, "text")};
  if (event == "acceleration")
    return UserLine{"INFO", word(fields, "reused_forwards") + " of " + word(fields, "forwards") +
                                " forwards reuse what an earlier step computed"};
  if (event == "memory" || event == "lora" || event == "skip_softmax")
    return UserLine{"DEBUG", log_line(event, fields, /*for_people=*/true)};
  return std::nullopt;
}

std::string user_text(const Report& report, bool stage_begins) {
  if (report.stage == Stage::Denoise)
    return report.step >= report.steps
               ? ""
               : "step " + std::to_string(report.step + 1) + " of " + std::to_string(report.steps) +
                     (report.expert.empty() ? "" : ", " + report.expert + " noise");
  if (!stage_begins) return "";
  switch (report.stage) {
    case Stage::Fetch:
      return "fetching the inputs";
    case Stage::Encode:
      return "encoding the inputs";
    case Stage::Decode:
      return "decoding the video";
    case Stage::Write:
      return "writing the file";
    default:
      return "";
  }
}

}  // namespace wan
