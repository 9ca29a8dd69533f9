// From the checked values of a request to the fields of a manifest line, which a worker renders.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/serve/api/endpoints.h"
#include "engine/serve/api/validate.h"
#include "engine/serve/settings.h"

namespace wan::serve {

struct JobFields {
  nlohmann::json fields;           // task, model and all that the job is rendered with
  std::vector<std::string> notes;  // for the job's log: what is not as the client may expect
};

/// `values` are those of check_body(), with inputs that lie on this server as paths. Defaults are the hosted ones. A seed is
/// drawn where none was given, so that a job that is taken up again is the same job. What this server does not have, in
/// its build or for want of an interpolator's weights, a safety checker or a language server, is left out with a note where
/// it is only the hosted default, and is an error where it was asked for. `errors` has
/// everything that is wrong with the values, in the vendor's names.
/// Throws InvalidRequest where the operator's settings do not make a request: the model, `render`.
JobFields job_fields(const Endpoint& endpoint, const nlohmann::json& values, const Settings& settings,
                     ErrorList& errors);

/// The model of a task, as it was configured; empty where there is none. v2v takes t2v's.
std::string model_for(Task task, const Settings& settings);

}  // namespace wan::serve
