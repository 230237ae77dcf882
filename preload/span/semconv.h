// SPDX-License-Identifier: MIT
// Attribute names, after the OpenTelemetry semantic conventions 1.44 (stable ones where they
// exist).
#ifndef FAA_SPAN_SEMCONV_H
#define FAA_SPAN_SEMCONV_H

/// To emit a new attribute, add one line here and set it in an instrumentor.
#define FAA_SEMCONV(X)                                                                             \
    X(CLIENT_ADDRESS, "client.address")                                                            \
    X(CLIENT_PORT, "client.port")                                                                  \
    X(CODE_FILE_PATH, "code.file.path")                                                            \
    X(CODE_FUNCTION_NAME, "code.function.name")                                                    \
    X(CODE_LINE_NUMBER, "code.line.number")                                                        \
    X(CODE_STACKTRACE, "code.stacktrace")                                                          \
    X(DB_NAMESPACE, "db.namespace")                                                                \
    X(DB_OPERATION_BATCH_SIZE, "db.operation.batch.size")                                          \
    X(DB_OPERATION_NAME, "db.operation.name")                                                      \
    X(DB_QUERY_SUMMARY, "db.query.summary")                                                        \
    X(DB_QUERY_TEXT, "db.query.text")                                                              \
    X(DB_RESPONSE_STATUS_CODE, "db.response.status_code")                                          \
    X(DB_STORED_PROCEDURE_NAME, "db.stored_procedure.name")                                        \
    X(DB_SYSTEM_NAME, "db.system.name")                                                            \
    X(ERROR_TYPE, "error.type")                                                                    \
    X(EXCEPTION_MESSAGE, "exception.message")                                                      \
    X(EXCEPTION_STACKTRACE, "exception.stacktrace")                                                \
    X(EXCEPTION_TYPE, "exception.type")                                                            \
    X(FAA_DB_POOL_WAIT_US, "faa.db.pool.wait_us")                                                  \
    X(FAA_EVENT_LOOP_BLOCKED_US, "faa.event_loop.blocked_us")                                      \
    X(FAA_EVENT_LOOP_BLOCKING, "faa.event_loop.blocking")                                          \
    X(FAA_EVENT_LOOP_BUSY_US, "faa.event_loop.busy_us")                                            \
    X(FAA_EVENT_LOOP_LONGEST_US, "faa.event_loop.longest_us")                                      \
    X(FAA_REQUEST_OUTCOME, "faa.request.outcome")                                                  \
    X(FAA_THREAD_POOL_WAIT_US, "faa.thread_pool.wait_us")                                          \
    X(FAA_VALIDATION_ERROR_COUNT, "faa.validation.error_count")                                    \
    X(FAA_VALIDATION_LOCATIONS, "faa.validation.locations")                                        \
    X(FAA_WEBSOCKET_BYTES_RECEIVED, "faa.websocket.bytes_received")                                \
    X(FAA_WEBSOCKET_BYTES_SENT, "faa.websocket.bytes_sent")                                        \
    X(FAA_WEBSOCKET_CLOSE_CODE, "faa.websocket.close_code")                                        \
    X(FAA_WEBSOCKET_MESSAGE_SIZE, "faa.websocket.message_size")                                    \
    X(FAA_WEBSOCKET_MESSAGES_RECEIVED, "faa.websocket.messages_received")                          \
    X(FAA_WEBSOCKET_MESSAGES_SENT, "faa.websocket.messages_sent")                                  \
    X(HTTP_REQUEST_BODY_SIZE, "http.request.body.size")                                            \
    X(HTTP_REQUEST_HEADER, "http.request.header")                                                  \
    X(HTTP_REQUEST_METHOD, "http.request.method")                                                  \
    X(HTTP_REQUEST_METHOD_ORIGINAL, "http.request.method_original")                                \
    X(HTTP_REQUEST_RESEND_COUNT, "http.request.resend_count")                                      \
    X(HTTP_RESPONSE_BODY_SIZE, "http.response.body.size")                                          \
    X(HTTP_RESPONSE_HEADER, "http.response.header")                                                \
    X(HTTP_RESPONSE_STATUS_CODE, "http.response.status_code")                                      \
    X(HTTP_ROUTE, "http.route")                                                                    \
    X(NETWORK_PEER_ADDRESS, "network.peer.address")                                                \
    X(NETWORK_PEER_PORT, "network.peer.port")                                                      \
    X(NETWORK_PROTOCOL_NAME, "network.protocol.name")                                              \
    X(NETWORK_PROTOCOL_VERSION, "network.protocol.version")                                        \
    X(SERVER_ADDRESS, "server.address")                                                            \
    X(SERVER_PORT, "server.port")                                                                  \
    X(URL_FULL, "url.full")                                                                        \
    X(URL_PATH, "url.path")                                                                        \
    X(URL_QUERY, "url.query")                                                                      \
    X(URL_SCHEME, "url.scheme")                                                                    \
    X(USER_AGENT_ORIGINAL, "user_agent.original")

enum faa_key {
    FAA_KEY_NONE, ///< Never set: lets a zeroed record name no attribute.
#define X(id, name) FAA_KEY_##id,
    FAA_SEMCONV(X)
#undef X
        FAA_KEY_COUNT
};

/// The attribute's name, a static string; "" for a key out of range (a damaged record).
const char *faa_key_name(unsigned key);

#endif
