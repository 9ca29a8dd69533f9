// Hosted URLs on this server.
#include "engine/serve/api/proxy.h"

#include <gtest/gtest.h>

namespace wan::serve {
namespace {

TEST(Proxy, LeadsToTheRouteOfTheSameName) {
  EXPECT_EQ(local_target("https://fal.run/fal-ai/wan/v2.2-a14b/text-to-video"), "/fal-ai/wan/v2.2-a14b/text-to-video");
  EXPECT_EQ(local_target("https://queue.fal.run/fal-ai/wan/requests/1/status?logs=1"),
            "/queue/fal-ai/wan/requests/1/status?logs=1");
  EXPECT_EQ(local_target("https://rest.fal.ai/storage/upload/initiate?storage_type=gcs"),
            "/storage/upload/initiate?storage_type=gcs");
  EXPECT_EQ(local_target("HTTPS://FAL.RUN:443/fal-ai/x#part"), "/fal-ai/x");
}

TEST(Proxy, LeadsNowhereElse) {
  for (const char* url :
       {"", "/fal-ai/x", "http://fal.run/fal-ai/x", "https://fal.run", "https://fal.run.evil.example/fal-ai/x",
        "https://evil.example/fal-ai/x", "https://user@fal.run/fal-ai/x", "https://fal.run@evil.example/fal-ai/x",
        "https://fal.run/api/fal/proxy", "https://fal.run/page/jobs", "https://rest.fal.ai/tokens/",
        "https://fal.run:8080/fal-ai/x", "ftp://fal.run/fal-ai/x"})
    EXPECT_FALSE(local_target(url).has_value()) << url;
}

}  // namespace
}  // namespace wan::serve
