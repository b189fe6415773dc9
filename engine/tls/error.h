#pragma once

#include <string>

namespace weir::tls {

// What the thread's OpenSSL error queue holds, in nginx's form, and empties it:
// " (SSL: error:0A000086:SSL routines::certificate verify failed:…)". Empty: nothing is queued.
std::string take_errors();

// Empties that queue, before a call whose result SSL_get_error() explains. Nothing is in it nearly
// always, which costs less to see than to clear.
void clear_errors();

}  // namespace weir::tls
