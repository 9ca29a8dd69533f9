#include "tools/serve/failed_message.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "engine/base/error.h"
#include "engine/job/preflight.h"
#include "engine/request/safety.h"
#include "engine/residency/failure.h"
#include "engine/serve/work/protocol.h"
#include "models/files/error.h"

namespace wan {
namespace {

/// Whether the system said that there is no room. Its words stand in texts of several kinds of errors.
bool says_full(const std::string& text) {
  for (const int number : {ENOSPC, EDQUOT})
    if (text.find(std::generic_category().message(number)) != std::string::npos) return true;
  return false;
}

bool is_about_disk(const InvalidRequest& refused) {
  return std::any_of(refused.errors.begin(), refused.errors.end(),
                     [](const FieldError& error) { return error.type == kDiskFull; });
}

}  // namespace

nlohmann::json failed_message(const std::string& job, const std::exception_ptr& failure) {
  nlohmann::json message = {
      {"is", "failed"}, {"job", job}, {"kind", "machine"}, {"errors", nlohmann::json::array()}, {"text", ""}};
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const InvalidRequest& refused) {
    message["kind"] = is_about_disk(refused) ? "disk" : "request";
    message["errors"] = serve::to_json(refused.errors);
    message["text"] = refused.what();
  } catch (const SafetyRefusal& refused) {
    message["kind"] = "refused";
    message["errors"] =
        serve::to_json(std::vector<FieldError>{{refused.field, refused.wrong, "content_policy_violation", "", ""}});
    message["text"] = refused.what();
  } catch (const ModelError& error) {
    message["kind"] = "model";
    message["text"] = error.what();
  } catch (const Withdrawn& withdrawn) {
    message["kind"] = "cancelled";
    message["text"] = withdrawn.what();
  } catch (const std::exception& error) {
    message["text"] = text_of(error);
    if (is_device_lost(error)) message["kind"] = "device";
    if (says_full(text_of(error))) message["kind"] = "disk";
  } catch (...) {
    message["text"] = "failed for a reason that is not known";
  }
  return message;
}

}  // namespace wan
