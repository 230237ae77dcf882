// SPDX-License-Identifier: MIT
// FastAPI's own steps of a request, and Starlette's background tasks, as far as the settings ask
// for them. Each seam is optional: where one is missing, a debug line names it and the others work.
#ifndef FAA_INSTRUMENTORS_FASTAPI_STEPS_H
#define FAA_INSTRUMENTORS_FASTAPI_STEPS_H

/// The chosen ones of all below; called once `fastapi.routing` has been imported.
void faa_fastapi_steps_install(void);

/// Dependencies as a whole, and the slow ones each.
void faa_fastapi_dependencies_install(void);

/// What a failed validation says on the SERVER span.
void faa_fastapi_validation_install(void);

/// Background tasks; called once `starlette.background` has been imported.
void faa_background_install(void);

#endif
