// What the files of OpenAI's video calls share.
#pragma once

#include <string>

#include "engine/serve/api/openai_fields.h"
#include "engine/serve/api/submit.h"

namespace wan::serve {

/// The answer of a handler; what it throws as HttpError is told in OpenAI's form, whichever part of the server made it.
Awaitable<Answer> in_openai_form(Awaitable<Answer> work);

/// How a request of this form becomes a job: its names, what is kept beside its input, and notes.
Submission submission_of(const VideoRequest& request);

/// The caller's video, whichever call made it. Throws HttpError 404.
Awaitable<JobPtr> find_video(ApiContext& context, const Caller& caller, std::string id);

// The routes of each subject.
/// POST /v1/videos, .../edits and .../remix; and what is not offered: extensions, characters.
void add_video_submits(Router& router, ApiContext& context);
/// POST /v1/videos/generations and /v1/videos/sync, which answer when the video is there.
void add_video_generations(Router& router, ApiContext& context);

}  // namespace wan::serve
