// What a worker says of a job that failed, as an answer of the hosted APIs.
#pragma once

#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/serve/queue/job.h"

namespace wan::serve {

/// `kind` as in protocol.h. A request's errors about a client's fields become a 422 with the vendor's types
/// (file_download_error, image_load_error, audio_duration_too_long, ...), in which fields have the names of the table
/// of parameters; "refused" is one of type
/// content_policy_violation about the input, or about the prompt where the video itself was refused; "cancelled" is 400
/// client_cancelled; everything else, errors about the operator's fields (out, model,
/// device_memory) too, is 500 runner_server_error: `text` may name paths and more of the machine, so that of it a
/// client gets the kind, and the names of the operator's fields.
JobError job_error(const std::string& kind, const std::vector<FieldError>& errors, const std::string& text);

/// The end of a job that its client cancelled, and of one that did not begin by its deadline.
JobError cancelled_error();
JobError start_timeout_error();

}  // namespace wan::serve
