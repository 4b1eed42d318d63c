-- +goose Up

-- A form's page looks at its ticket's messages every two seconds while it is
-- open. Partial: the other channels' messages do not pay for it.
CREATE INDEX messages_webform_ticket ON messages (ticket_id) WHERE channel = 'webform' AND ticket_id IS NOT NULL;
