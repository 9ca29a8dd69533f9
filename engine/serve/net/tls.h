// TLS as this server speaks it: 1.2 and 1.3, HTTP/1.1 within it.
#pragma once

#include <filesystem>
#include <memory>

#include "engine/serve/net/asio.h"

#include <boost/asio/ssl/context.hpp>

namespace wan::serve {

/// With a certificate (and those that vouch for it behind it) and its key, both PEM. Throws InvalidRequest naming "tls_cert"
/// or "tls_key".
std::unique_ptr<boost::asio::ssl::context> make_tls(const std::filesystem::path& certificate,
                                                    const std::filesystem::path& key);

}  // namespace wan::serve
