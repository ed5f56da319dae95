-- One database per service, so that none can read another's tables by mistake. Run once, when the volume is made.
CREATE DATABASE regrow_registry;
CREATE DATABASE regrow_labeling;
CREATE DATABASE regrow_training;
CREATE DATABASE regrow_gateway;
